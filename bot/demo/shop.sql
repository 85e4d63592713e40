-- The demo shop's orders: what its order system would hold. Names are masked as such systems show them.
CREATE TABLE orders (
  order_number    TEXT PRIMARY KEY CHECK (order_number GLOB 'QS20[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'),
  customer        TEXT NOT NULL,
  status          TEXT NOT NULL CHECK (status IN ('待付款', '待发货', '运输中', '派送中', '已签收', '已取消', '退款中')),
  courier         TEXT,
  tracking_number TEXT,
  expected_on     TEXT CHECK (expected_on IS date(expected_on))
) WITHOUT ROWID;

INSERT INTO orders (order_number, customer, status, courier, tracking_number, expected_on) VALUES
  ('QS20260102001', '钱**', '已签收', '中通快递', 'ZT8801260102001', '2026-01-04'),
  ('QS20260102002', '冯*',  '已签收', '京东物流', 'JD8801260102002', '2026-01-04'),
  ('QS20260103001', '王**', '运输中', '中通快递', 'ZT8801260103001', '2026-01-07'),
  ('QS20260103002', '李**', '已签收', '京东物流', 'JD8801260103002', '2026-01-05'),
  ('QS20260103003', '陈*',  '派送中', '顺丰速运', 'SF8801260103003', '2026-01-05'),
  ('QS20260104001', '赵**', '运输中', '中通快递', 'ZT8801260104001', '2026-01-12'),
  ('QS20260104002', '刘*',  '派送中', '京东物流', 'JD8801260104002', '2026-01-06'),
  ('QS20260104003', '周**', '已取消', NULL, NULL, NULL),
  ('QS20260105001', '吴**', '运输中', '德邦快递', 'DP8801260105001', '2026-01-10'),
  ('QS20260105002', '孙*',  '待发货', NULL, NULL, '2026-01-09'),
  ('QS20260105003', '杨**', '待付款', NULL, NULL, NULL),
  ('QS20260105004', '黄**', '退款中', NULL, NULL, NULL),
  ('QS20260106001', '何*',  '待发货', NULL, NULL, '2026-01-20'),
  ('QS20260106002', '郑**', '运输中', '京东物流', 'JD8801260106002', '2026-01-08');
