"""飞书 (Feishu) and Lark bots."""
