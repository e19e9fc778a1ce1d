"""A new project without tenants, in an environment that has neither django-tenants nor Celery."""

import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from zango_ai.testing import ModelServer

LEFT_OUT = ("django_tenants", "tenant_schemas_celery", "celery")
OWN = ("zango_ai", "__editable__", "_zango_ai")

SETTINGS = """
import dj_database_url, os
INSTALLED_APPS += ["zango_ai"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
ZANGO_AI = {"ALLOWED_API_BASES": [os.environ["MODEL_URL"]]}
"""
CONFIGURE = """
import os
from zango_ai.models import AgentConfig, Provider
credentials = {"api_key": "sk-any", "api_base": os.environ["MODEL_URL"] + "/v1"}
provider = Provider.objects.create(name="main", kind="openai", default_model="gpt-4o-mini", credentials=credentials)
AgentConfig.objects.create(name="helper", provider=provider)
"""
READ_LOG = """
from zango_ai.models import Invocation
run = Invocation.objects.get()
imported = {"django_tenants", "tenant_schemas_celery", "celery"} & set(sys.modules)
print(run.status, run.response_content, len(imported))
"""


@pytest.fixture
def python(installed: Path, tmp_path: Path) -> Path:
    """The Python of an environment that has the wheel and what this one has, but not the packages of extras."""
    venv.create(tmp_path / "env", symlinks=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            if not entry.name.startswith((*LEFT_OUT, *OWN)):
                (site / entry.name).symlink_to(entry)
    for entry in installed.iterdir():
        (site / entry.name).symlink_to(entry)
    return tmp_path / "env" / "bin" / "python"


def test_a_new_project_without_tenants_logs_its_first_run(python, environment, tmp_path):
    del environment["PYTHONPATH"]

    def run(*arguments: str) -> str:
        done = subprocess.run([python, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with ModelServer() as model:
        environment["MODEL_URL"] = model.url
        model.script("Hello from a new project.")
        run("-m", "django", "startproject", "mysite", ".")
        with (tmp_path / "mysite" / "settings.py").open("a") as settings:
            settings.write(SETTINGS)
        run("manage.py", "migrate", "--verbosity", "0")
        assert "no issues" in run("manage.py", "check", "--database", "default")
        run("manage.py", "shell", "--verbosity", "0", "-c", CONFIGURE)
        assert run("manage.py", "zango_ai_run", "helper", "--input", "hi") == "Hello from a new project."
        assert (
            run("manage.py", "shell", "--verbosity", "0", "-c", READ_LOG) == "success Hello from a new project. 0"
        )
        run("manage.py", "zango_ai_maintain")
        assert "adds up" in run("manage.py", "zango_ai_reconcile")


def test_django_tenants_and_celery_are_extras_of_the_wheel(installed):
    (metadata,) = installed.glob("*.dist-info/METADATA")
    lines = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist:")]
    extras = [line for line in lines if "tenant" in line.partition(";")[0] or "celery" in line.partition(";")[0]]
    assert {line.split()[1].partition("<")[0] for line in extras} >= {"django-tenants", "celery"}
    assert all("extra ==" in line for line in extras)
