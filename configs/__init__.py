"""Grid files that come with the package: `demo.yaml` is what `ser-sweep demo` runs."""
