"""The evidence of a scan → findings on what is wrong or suspicious in a dump. Reads no bytes, prints nothing."""
