# Writes ranx-fusion.json with ranx 0.3.21: python ranx_fusion.py
import json
from ranx import Run, fuse
a={'q1':{'d1':3.0,'d2':2.5,'d3':1.0,'d5':0.5},'q2':{'d1':1.0,'d9':0.25}}
b={'q1':{'d2':9.0,'d4':7.0,'d1':2.0},'q2':{'d7':4.0,'d1':3.0,'d9':1.0}}
c={'q1':{'d6':0.9,'d2':0.8,'d3':0.1},'q2':{'d9':0.4}}
out={}
for norm in (None,'min-max','zmuv','sum','rank'):
  for m in ('rrf','sum','mnz','anz','max','min','med','isr','log_isr','bordafuse','condorcet'):
    if m in('rrf','isr','log_isr','bordafuse','condorcet') and norm: continue
    r=fuse([Run(a),Run(b),Run(c)],method=m,norm=norm)
    out[f'{m} {norm}']={q:{d:round(float(s),12) for d,s in v.items()} for q,v in r.to_dict().items()}
for norm in ('min-max','sum','rank'):
    r=fuse([Run(a),Run(b),Run(c)],method='wsum',norm=norm,params={'weights':[0.5,0.3,0.2]})
    out[f'wsum {norm}']={q:{d:round(float(s),12) for d,s in v.items()} for q,v in r.to_dict().items()}
json.dump(out,open('ranx-fusion.json','w'),indent=0,sort_keys=True)
