"""The version of the project, in this one place."""

VERSION = "0.2.0"
