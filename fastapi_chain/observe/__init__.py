"""5. OBSERVE: events -> somewhere. Sinks know nothing of each other."""
