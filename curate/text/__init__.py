"""Kernels over Arrow text buffers. They know bytes and offsets, nothing of recipes or lakes."""
