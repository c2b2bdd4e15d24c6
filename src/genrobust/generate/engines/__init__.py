"""The engines that come with genrobust, one a file: each registers itself."""
