"""The export stage: shards into the forms that other programs read, in folders that appear whole or not at all."""
