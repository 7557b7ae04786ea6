"""The public check kit: promises, a terrible network in virtual time, a fake function, a chaos proxy."""
