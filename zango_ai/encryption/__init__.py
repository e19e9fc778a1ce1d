"""Keys, credentials, and the model field that encrypts them."""
