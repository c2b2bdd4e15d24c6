"""Where classifiers come from: checkpoints, timm and its hub, ONNX files, CLIPs."""
