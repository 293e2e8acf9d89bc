"""e-OSVOS (Meinhardt & Leal-Taixé, NeurIPS 2020)."""
