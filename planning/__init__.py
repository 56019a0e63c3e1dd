"""From a report to what will be declared, as plain values. Pure."""
