"""The executors that --executor names, one a file. A file here registers its executor and is found."""
