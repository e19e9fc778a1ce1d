"""The SQL of the statements that reserve and settle a round.

All statements lock rows in one order: the run, its round, rate limits by key, budget months by id, the usage
roll-up by key. Where a part must run after another, it reads the other's row count.

A statement contains only the parts that its call needs, because PostgreSQL plans and starts each part. Its text is
built once per tenant and form, so that the connection recognizes it and prepares it.
"""
