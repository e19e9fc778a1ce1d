"""What the process loads from which those of ``tests.children`` are forked."""

import django

django.setup()

from zango_ai.providers import litellm_import  # noqa: E402

litellm_import.load()
