"""Tests on other machines: root file systems without Python, entered without a network."""
