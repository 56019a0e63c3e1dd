"""From what was seen and answered to a verdict. Pure."""
