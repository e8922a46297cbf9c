"""The lip-sync engines behind one narrow door, `base.Engine`."""
