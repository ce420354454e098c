import time, io
import numpy as np, pytest
from datetime import UTC, datetime, timedelta
from trading.services import market as svc
from trading.selectors import market as sel
from trading.models import MarketOHLC
from tiers.contracts import Bars
from django.db import connection

def make(n, k, start="2017-01-01"):
    ts=np.datetime64(start,'us')+np.arange(n)*np.timedelta64(60,'s')
    r=np.random.default_rng(0); c=100*np.exp(np.cumsum(r.normal(0,1e-4,(n,k)),0))
    return Bars(timeframe='1m',symbols=tuple(f'S{i:02d}' for i in range(k)),ts=ts,open=c,high=c*1.001,low=c*0.999,close=c,volume=c)

@pytest.mark.django_db(transaction=True)
def test_speed(capsys):
    with capsys.disabled():
        b=make(100_000,1)
        for _ in range(3):
            MarketOHLC.objects.all()._raw_delete('default')
            t=time.perf_counter(); r=svc.upsert_bars(b,'x'); d=time.perf_counter()-t; print('\nupsert fresh',r,1e5/d)
        t=time.perf_counter(); r=svc.upsert_bars(b,'x'); d=time.perf_counter()-t; print('upsert same',r,1e5/d)
        with connection.cursor() as c:
            c.execute('truncate market_ohlc'); 
            c.execute("create temp table zz (symbol text, timeframe text, source text, bar_ts timestamptz, open float8, high float8, low float8, close float8, volume float8)")
            t=time.perf_counter(); data,n=svc.wire.encode(b,'x'); print('encode',time.perf_counter()-t)
            t=time.perf_counter(); c.copy_expert("COPY zz FROM STDIN (FORMAT binary)", io.BytesIO(data)); print('copy temp',time.perf_counter()-t)
            t=time.perf_counter(); c.execute("insert into market_ohlc (symbol,timeframe,source,bar_ts,open,high,low,close,volume) select * from zz"); print('plain insert',time.perf_counter()-t)
            c.execute('truncate market_ohlc')
            t=time.perf_counter(); c.copy_expert("COPY market_ohlc (symbol,timeframe,source,bar_ts,open,high,low,close,volume) FROM STDIN (FORMAT binary)", io.BytesIO(data)) if 0 else None
            c.execute("alter table market_ohlc alter source set default 'x'")
            t=time.perf_counter(); c.copy_expert("COPY market_ohlc (symbol,timeframe,source,bar_ts,open,high,low,close,volume) FROM STDIN (FORMAT binary)", io.BytesIO(data)); print('bare copy',time.perf_counter()-t)
            c.execute("alter table market_ohlc alter source drop default")
            c.execute('truncate market_ohlc')
        objs=[MarketOHLC(symbol='S00',timeframe='1m',bar_ts=svc._moment(b.ts[i]),open=b.open[i,0],high=b.high[i,0],low=b.low[i,0],close=b.close[i,0],volume=b.volume[i,0],source='x') for i in range(100_000)]
        t=time.perf_counter(); MarketOHLC.objects.bulk_create(objs,batch_size=5000); d=time.perf_counter()-t; print('bulk_create',1e5/d)
        t=time.perf_counter(); x=sel.bar_range(['S00'],'1m'); print('range 100k ms',(time.perf_counter()-t)*1e3,x.n_bars)
        t=time.perf_counter(); x=sel.bar_range(['S00'],'1m'); print('range 100k ms',(time.perf_counter()-t)*1e3,x.n_bars)
        MarketOHLC.objects.all()._raw_delete('default')
        b=make(50_000,20); svc.upsert_bars(b,'x')
        end=svc._moment(b.ts[40_000])
        with connection.cursor() as c: c.execute('analyze market_ohlc')
        for _ in range(4):
            t=time.perf_counter(); x=sel.bar_window(b.symbols,'1m',end,1000); print('window 20x1000 ms',(time.perf_counter()-t)*1e3,x.n_bars)
        t=time.perf_counter(); x=sel.bar_window(b.symbols,'1m',end,100); print('window 20x100 ms',(time.perf_counter()-t)*1e3,x.n_bars)
        one=b.rows(slice(0,1))
        for _ in range(3):
            t=time.perf_counter(); svc.upsert_bars(one,'x'); print('upsert 20 rows ms',(time.perf_counter()-t)*1e3)
        t=time.perf_counter(); print(sel.known_symbols('1m')[:3]); print('known ms',(time.perf_counter()-t)*1e3)
        t=time.perf_counter(); sel.inventory(); print('inventory ms',(time.perf_counter()-t)*1e3)
        t=time.perf_counter(); print(sel.next_bar_ts(b.symbols,'1m',end)); print('next ms',(time.perf_counter()-t)*1e3)
