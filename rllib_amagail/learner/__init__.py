"""The stages of Algorithm 1 on the learners, one file each."""
