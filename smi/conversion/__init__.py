"""Lossless conversion between all versions of the kinds of SMI. The annotation of `smi/kept.py` holds the rest."""

from smi.conversion.convert import VERSIONS, ConversionError, convert

__all__ = ["VERSIONS", "ConversionError", "convert"]
