"""Chains in an app: endpoints that start them, and everything over HTTP."""
