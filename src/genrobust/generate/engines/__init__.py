"""The engines that come with genrobust, one per file: each registers itself."""
