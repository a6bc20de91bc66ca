"""What surfaces are put together from: sources, filters, scorers and selectors over the parts of one release."""
