"""The commands of the command line, one a file. Each imports the rooms it works with inside its function."""
