"""What a scan saw → findings: what is wrong or suspicious in a dump. Reads no bytes, prints nothing."""
