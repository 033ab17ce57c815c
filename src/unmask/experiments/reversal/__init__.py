"""The reverse curse: descriptions asked by name and names by description, in the order learned and in the other."""
