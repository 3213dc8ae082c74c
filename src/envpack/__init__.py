"""envpack packs a synced uv environment into one archive that runs anywhere."""
