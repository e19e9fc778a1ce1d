"""What an error of a run means and what staff can do about it, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Explanation:
    what: Any
    remedy: Any
    page: str = ""
    """The admin page where to start, such as ``provider_changelist``."""
    action: Any = ""


_PROVIDERS = ("provider_changelist", _("Open the providers"))
_AGENTS = ("agentconfig_changelist", _("Open the agents"))
_PROMPTS = ("prompt_changelist", _("Open the prompts"))
_SPENDING = ("spend_changelist", _("Open the spending"))

_EXPLANATIONS: dict[str, Explanation] = {
    "LLMTimeoutError": Explanation(
        _("The provider did not answer in time."),
        _("Try again. If it happens often, raise the agent's timeout or choose a faster model."),
        *_AGENTS,
    ),
    "LLMAPIError": Explanation(
        _("The provider answered with an error."),
        _("Test the connection of the provider. A fallback lets the agent go on with another model."),
        *_PROVIDERS,
    ),
    "RateLimitExceeded": Explanation(
        _("There were too many requests in this minute."),
        _("Wait a minute, or raise the limit per minute of the provider if the limit is your own."),
        *_PROVIDERS,
    ),
    "BudgetExceeded": Explanation(
        _("The budget of this month is used up."),
        _("Raise the budget, or wait until it resets."),
        *_SPENDING,
    ),
    "ContextWindowExceeded": Explanation(
        _("The text is longer than the model can read."),
        _("Shorten the text, remember fewer messages, or choose a model with a larger context window."),
        *_AGENTS,
    ),
    "ContentPolicyViolation": Explanation(
        _("The provider refused the content."),
        _("Rephrase the prompt, or ask another provider."),
        *_PROMPTS,
    ),
    "PromptRenderError": Explanation(
        _("A placeholder of the prompt got no value."),
        _("Pass the missing variables, or remove the placeholders from the prompt."),
        *_PROMPTS,
    ),
    "PromptNotFound": Explanation(
        _("The agent's prompt has no active version."), _("Activate a version of the prompt."), *_PROMPTS
    ),
    "ProviderConfigInvalid": Explanation(
        _("The provider is not set up completely."), _("Check its credentials and its address."), *_PROVIDERS
    ),
    "ProviderDisabled": Explanation(_("The provider is turned off."), _("Turn it on again."), *_PROVIDERS),
    "AgentDisabled": Explanation(_("The agent is turned off."), _("Turn it on again."), *_AGENTS),
    "ModelNotAvailable": Explanation(
        _("The provider does not allow this model."), _("Allow the model, or choose another one."), *_PROVIDERS
    ),
    "PriceUnknown": Explanation(
        _("There is a budget, but the model has no price."), _("Enter the price of the model."), *_PROVIDERS
    ),
    "OutputParseError": Explanation(
        _("The model did not answer with JSON."),
        _("Raise the output retries of the agent, or choose a model that supports JSON schemas."),
        *_AGENTS,
    ),
    "OutputValidationError": Explanation(
        _("The answer does not match the JSON schema."),
        _("Check the schema, raise the output retries of the agent, or choose another model."),
        *_AGENTS,
    ),
    "OutputSchemaInvalid": Explanation(
        _("The JSON schema cannot be used."), _("Correct the schema of the agent."), *_AGENTS
    ),
    "SessionNotOwned": Explanation(
        _("The session belongs to another user."),
        _("Start a new session, or pass the user that has opened this one."),
    ),
    "InputRequired": Explanation(
        _("There was nothing to send."), _("Pass a text, or give the agent a user prompt."), *_AGENTS
    ),
    "LLMFileError": Explanation(
        _("A file cannot be sent."),
        _("Check its type and size, and whether the model reads such files."),
        *_PROVIDERS,
    ),
    "QueueUnavailable": Explanation(
        _("The run could not be queued."), _("Check that the message broker of the background workers is up.")
    ),
    "ToolNotFound": Explanation(
        _("A tool of the agent is no longer in the code."), _("Sync the tools and choose others."), *_AGENTS
    ),
}
_BY_STATUS: dict[str, Explanation] = {
    "abandoned": Explanation(
        _("The process that ran the agent has ended without a result."),
        _("Start the run again. If it happens often, look into the log of the server or worker."),
    ),
    "failed": Explanation(
        _("The run ended with an error of the application."), _("Show the type of the error to a developer.")
    ),
    "timeout": _EXPLANATIONS["LLMTimeoutError"],
    "rate_limited": _EXPLANATIONS["RateLimitExceeded"],
    "budget_exceeded": _EXPLANATIONS["BudgetExceeded"],
}


def explain(status: str, error_type: str) -> Explanation | None:
    """None for a run without an error."""
    return _EXPLANATIONS.get(error_type) or _BY_STATUS.get(status)
