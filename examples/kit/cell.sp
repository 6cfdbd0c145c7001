* 1T1R whose memory is a filament with a gap, nm: I = i0 exp(-gap/gap0) sinh(v/v0)
* (Guan, Yu, Wong, IEEE Electron Device Letters 33 (2012) 1405: i0 1 mA, gap0 0.25 nm, v0 0.25 V).
.subckt cell1t1r bl wl sl gap=1.0
.param v0=0.25 gap0=0.25 i0=1e-3
b1 bl mid i={i0*exp(-gap/gap0)}*sinh(v(bl,mid)/{v0})
m1 mid wl sl 0 kitnmos w=1e-6 l=0.13e-6
.ends
