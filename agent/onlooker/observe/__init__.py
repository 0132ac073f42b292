"""What is seen in a target: samples of its threads, and the names of what they ran."""
