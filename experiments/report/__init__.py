"""From logged events to a verdict: the report of one experiment. Its records are in record.py."""
