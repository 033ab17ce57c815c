"""What a run is set up with: compiled layers that stay compiled as masks change, and where what is made stays."""

from __future__ import annotations


