"""Issuers of ID tokens that a mesh believes, and what follows from what they say of somebody."""

from __future__ import annotations
