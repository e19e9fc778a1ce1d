"""Model providers: what each needs, how it is asked, what it costs. The only importers of litellm."""
