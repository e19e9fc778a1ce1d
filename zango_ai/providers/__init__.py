"""Model providers: their credentials, calls and prices. Only this package imports litellm."""
