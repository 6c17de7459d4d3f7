"""Materials of the synthetic world: what they reflect in the ten Sentinel-2 bands, and how they are textured.

Each material is a line between two spectra: `v` = 0 (dark, wet, dry plant, clear water) to `v` = 1 (bright, dry soil,
lush plant, turbid water). `young` is a crop that closes over dark, moist soil. Roofs and roads are weathered and
soiled, so darker and browner than clean samples. The RGB patch sees the same spectra through B4, B3, B2.

Source: assumed, plausible for such surfaces; fitted to no image, but revised by hand after the band means of the real
windows of notebook 06 were seen beside the synthetic ones.
"""

import numpy as np

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")

# name, texture (fine, medium, coarse: relative standard deviation of brightness), two spectra in thousandths
_TABLE = """
asphalt    .05 .05 .06 |  36  44  51  56  60  64  68  70  90  84 |  86 104 119 127 132 137 143 147 182 168
concrete   .04 .04 .05 |  74  96 112 121 127 132 138 143 176 160 | 188 238 275 290 299 306 313 319 352 318
paving     .07 .05 .06 |  60  74  92 105 114 120 127 132 170 154 | 115 140 170 190 201 209 218 225 270 244
tile       .09 .05 .02 |  35  46  82 108 124 134 147 160 196 172 |  70  97 190 242 267 280 298 314 344 300
slate      .07 .05 .02 |  38  42  46  49  52  56  60  65  86  84 |  95 104 113 119 124 129 135 140 168 164
metal      .03 .04 .03 | 150 160 166 170 172 175 178 180 184 165 | 470 490 500 505 507 508 508 508 470 410
bluemetal  .03 .04 .03 | 150 135 100  98 100 108 130 150 230 212 | 270 240 165 160 168 190 230 260 320 285
rust       .13 .09 .04 |  62  80 135 172 190 200 206 215 312 292 | 105 138 212 262 284 295 302 312 415 390
membrane   .03 .04 .03 | 270 295 310 318 320 321 322 323 285 240 | 650 690 710 715 715 712 705 700 570 460
roofgravel .08 .06 .04 |  66  85 101 110 117 122 129 134 178 164 | 135 174 203 217 226 234 244 251 302 277
bitumen    .06 .07 .04 |  32  35  39  42  46  49  52  55  74  72 |  88  97 105 111 116 121 127 132 162 156
turf       .03 .01 .01 |  32  58  36  52  95 142 180 200 200 155 |  45  80  50  70 120 170 215 232 230 180
grass      .08 .07 .08 |  58  83 112 140 176 196 216 232 300 212 |  25  58  32  94 290 372 410 422 204  98
shrub      .16 .10 .08 |  58  78 102 130 165 185 205 222 285 192 |  28  52  38  85 220 272 302 316 178  90
broadleaf  .14 .09 .07 |  45  60  76 100 142 162 182 198 245 155 |  20  45  25  76 300 410 460 478 212  92
conifer    .14 .09 .06 |  16  28  22  42 112 140 158 168  92  44 |  24  44  30  68 215 280 315 330 165  74
crop       .06 .03 .02 |  72 106 148 181 212 232 252 270 342 240 |  20  52  26  88 335 440 485 498 192  84
young      .06 .04 .03 |  28  38  52  63  73  81  90  98 136 114 |  24  58  34  95 285 365 402 415 190  92
stubble    .10 .04 .03 |  75 105 142 162 180 194 210 226 315 250 | 118 162 218 248 270 286 305 322 412 330
soil       .10 .05 .04 |  28  38  52  63  73  81  90  98 136 114 | 112 158 215 248 270 285 304 322 425 375
sand       .05 .06 .08 | 125 162 200 222 236 246 256 264 305 255 | 240 305 372 402 420 432 446 456 530 490
rock       .15 .12 .10 |  78  90 102 110 116 120 124 127 152 142 | 190 222 252 270 282 290 298 304 345 325
gravel     .11 .07 .08 |  95 112 130 142 149 155 162 168 218 198 | 190 220 250 266 276 284 292 298 352 325
water      .03 .03 .05 |  26  22  13  11   9   8   7   6   4   3 |  82 112 104  82  46  43  38  29   9   6
""".strip()


_ROWS = [[part.split() for part in line.split("|")] for line in _TABLE.splitlines()]
M = {row[0][0]: index for index, row in enumerate(_ROWS)}  # number of each material
TEXTURE = np.array([row[0][1:] for row in _ROWS], float).astype(np.float32)  # (M, 3)
SPECTRA = (np.array([row[1:] for row in _ROWS], float) / 1000).astype(np.float32)  # reflectance (M, 2, 10)

# Share of the light on level ground that comes from the sky, not the sun: what reaches a shadow (clear air).
SKY = np.array([0.27, 0.21, 0.16, 0.145, 0.13, 0.12, 0.11, 0.10, 0.05, 0.04], np.float32)
# Reflectance of the haze itself: what a dark place shows through thick haze.
PATH = np.array([0.150, 0.120, 0.095, 0.085, 0.078, 0.070, 0.062, 0.058, 0.018, 0.010], np.float32)
# Point spread function (standard deviation, m) and native pixel (m) of each band. Source: the sensor's published MTF.
PSF_SIGMA = (5.2, 5.1, 5.4, 8.9, 9.4, 9.4, 5.2, 9.5, 11.1, 10.9)
NATIVE = (10, 10, 10, 20, 20, 20, 10, 20, 20, 20)
