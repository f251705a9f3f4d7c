"""What gnomon costs and how right it is: measured, by anyone with a GPU."""
