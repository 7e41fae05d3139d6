"""Pretrained models: a manifest of all bundles, and downloads that are complete or absent.

Neither TensorFlow nor Keras is imported here. Nothing that is downloaded can run code: configurations are typed YAML,
weights are safetensors, encoders text and JSON, and streaming models TFLite.
"""

from rnnzoo.hub.cache import Cache
from rnnzoo.hub.download import download, download_all, read_manifest
from rnnzoo.hub.manifest import BundleInfo, FileInfo, Manifest, dump_manifest, parse_manifest

__all__ = [
    "BundleInfo",
    "Cache",
    "FileInfo",
    "Manifest",
    "download",
    "download_all",
    "dump_manifest",
    "parse_manifest",
    "read_manifest",
]
