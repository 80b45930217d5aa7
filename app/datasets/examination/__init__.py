"""What is known of a dataset from its images themselves."""
