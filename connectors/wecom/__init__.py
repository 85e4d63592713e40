"""企业微信 (WeCom): applications, 微信客服 (customer service in WeChat) and 智能机器人 (group and private bots)."""
