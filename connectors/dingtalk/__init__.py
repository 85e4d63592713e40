"""钉钉 (DingTalk) robots, over HTTP or in Stream mode."""
