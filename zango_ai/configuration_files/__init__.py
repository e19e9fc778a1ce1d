"""Configuration as code: a tenant's configuration as a YAML file, and back."""
