"""The package's build recipe; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="geventbt",
    version="0.1.0",
    description="BitTorrent for people who write straight-line Python: blocking peers on gevent",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["geventbt", "geventbt.*"]),
    package_data={"geventbt": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=["gevent>=23.9", "blinker>=1.7", "bitarray>=2.9", "bencode.py>=4.0", "cryptography>=43"],
    extras_require={
        "cli": ["rich>=13"],
        "test": [
            "pytest>=8",
            "hypothesis>=6.90",
            "pytest-timeout>=2.2",
            "pytest-xdist>=3.5",
            "gunicorn>=21",
            "libtorrent>=2.0",
            "rich>=13",
            "ruff>=0.5",
            "mypy>=1.8",
        ],
    },
    entry_points={"console_scripts": ["geventbt = geventbt.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3",
        "Topic :: Communications :: File Sharing",
        "Typing :: Typed",
    ],
)
