"""Privacy: what a listener may ask of us about their data, and the record of what was done (GDPR art. 15 and 17)."""
