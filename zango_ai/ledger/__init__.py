"""The log of runs and their cost: rows, money, rates, alerts and maintenance."""
