"""The chat page's side of the gateway: its files, who may come in, and what it may ask.

Its answers come from the fleet, as those of `/v1` do, wherever the containers are.
"""
