"""An agent's memory of its conversations.

``window`` decides which messages of a conversation are stored and cuts the window that is sent; it is pure.
``sessions`` reads and writes the stored conversations.
"""
