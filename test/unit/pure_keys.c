/*-------------------------------------------------------------------------
 *
 * pure_keys.c
 *	  Private keys for the pure layer's unit test.  They sign for nobody: the
 *	  Ed25519 key is that of RFC 8463 A.2, the others were made for this.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "pure_test.h"

const char key_rsa[] =
"-----BEGIN PRIVATE KEY-----\n"
"MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC6OOxntMEBlmFP\n"
"iZ0XiQamVa9P//VFT3BdZqLVJw6+/vsyuTTjJmUgVjgDfKZa205e8FTYhugQMlmM\n"
"L7A+C1bFC7xs1D1O4ncFT843H3/v5T/IdMIkz3T7DS8yGDARmnDshZavxBzuFTOQ\n"
"cQhRG908qyiIrjWLZrGM61YqCi9ojdtbQ2lL37FsLBRAPK57+GTk6+bd6MXJcGMW\n"
"P69MnfJUzbnYaAyFgdmkJR+EbCC/ztfDIgjRH/A1RYHHHvTNm4iJjJRxUHCN4QZD\n"
"kP8GFbYK3DnqTJXPE1aVafSEdogp7pvc3skH8nxqMiz2Mppe0djKGK5c0EHzOlv5\n"
"YcrkrWVhAgMBAAECggEATdo3ZyHHoMjENPLUtH6qQ4bF7J2W5huQX9PlVlRmU04Z\n"
"KXsJU798/phdAYQurgRKTuGNrxozUXYjPrq/JSkrZOSDqUHPwbdmx9c14JCwNVQz\n"
"prO9aJM8lipMZVZ8XhehhxhQR3onGBfP/15p+jK6er8Zio6+PuG3b7EBTEEG0d/p\n"
"2FL1ZV/xKMtJV6jJFJpGoC8+KseS6HEiRpT/jHCBPuMkaOIP1PqBlnsCYDq5mPah\n"
"gWv7U30xjj7QqTGdS30hUVzWsEbTEKcUOm+7PleCQUaMJoyR6EU5Hj5p6vLc1vEG\n"
"JtoRmMSIAl9K6oKozs9oIrqaKmQvdHrRrZ2pAulhewKBgQDbqcbhYO5J0BzkWdUk\n"
"vlUR891LjprnH/rbteBznmljNdR1kac/YX+hhiK2wAq4asduxqTJYkktD7XvJk9B\n"
"ocJ+XVZUcoywH1OdJ4aEhFKI938wlAh+8251weNsaQ0LNxdDi8QJLjeB+aPcwdL2\n"
"uxR2Y0bvUyhKHlNfv12KhZw3LwKBgQDZBwFgN+vrcy+0xol3jfa2mcB8hcGckLnr\n"
"+NjnaoBR2ftVYl0ZQyz5jE82/KpOyPikkw+lMuUfedFX1DZiys0rp814ew62Ro0a\n"
"dbde02sR5a4KkvgZL5929FqXjHKyujYG+jsDZZHgwn8LDy0VM6ST430LA9wdtEzL\n"
"y3g2oUgIbwKBgQCnTxgxQAAfbokjEJ084E+xXdpXG2Y21m/e+xfbWHQS4cRSTD9k\n"
"EiIBaEZ2ha1kq8f9QwXucZMk5EuBvN8vMUMPto3zwlAQMbwg/iMCOjsXIdPZr1cN\n"
"QuMGhEhxoU4TFcH9a65EA9S5heheU68YyIOcbJ9x2Bfe5FxCmGJqCLxkdwKBgDK2\n"
"clnbd2NTTSh+5AxtveK5VsNCNhWxs+AyC+03c7isqRAwpfSLP+0oHjKJI/q493Dt\n"
"dFBz7hpGyuYtDnBTV1IGKfsnNi7dmYc/TpP37yMFen+6DANGn4qaWrji9sJQxOMo\n"
"gbWvfED68djRuQUlRiXQmJ2ET2EZioBskTCiy0Q9AoGBAKU53r01de6JltIe+Adm\n"
"+4Oll4m7kIXLFpqbCZv6frg2J1gLrqQAwMD+qSMJqP4JukR6TcReMqZcGp3ma6Kh\n"
"UsFGaHaoIJDjloiBXIZevo5bhjyxeUhzghXHBQfPODSKxCMz8AapfPcHiyNVByZB\n"
"nETygzHIBpoJvMm0EQy9IA8R\n"
"-----END PRIVATE KEY-----\n";

const char key_rsa_pkcs1[] =
"-----BEGIN RSA PRIVATE KEY-----\n"
"MIIEpAIBAAKCAQEAujjsZ7TBAZZhT4mdF4kGplWvT//1RU9wXWai1ScOvv77Mrk0\n"
"4yZlIFY4A3ymWttOXvBU2IboEDJZjC+wPgtWxQu8bNQ9TuJ3BU/ONx9/7+U/yHTC\n"
"JM90+w0vMhgwEZpw7IWWr8Qc7hUzkHEIURvdPKsoiK41i2axjOtWKgovaI3bW0Np\n"
"S9+xbCwUQDyue/hk5Ovm3ejFyXBjFj+vTJ3yVM252GgMhYHZpCUfhGwgv87XwyII\n"
"0R/wNUWBxx70zZuIiYyUcVBwjeEGQ5D/BhW2Ctw56kyVzxNWlWn0hHaIKe6b3N7J\n"
"B/J8ajIs9jKaXtHYyhiuXNBB8zpb+WHK5K1lYQIDAQABAoIBAE3aN2chx6DIxDTy\n"
"1LR+qkOGxeydluYbkF/T5VZUZlNOGSl7CVO/fP6YXQGELq4ESk7hja8aM1F2Iz66\n"
"vyUpK2Tkg6lBz8G3ZsfXNeCQsDVUM6azvWiTPJYqTGVWfF4XoYcYUEd6JxgXz/9e\n"
"afoyunq/GYqOvj7ht2+xAUxBBtHf6dhS9WVf8SjLSVeoyRSaRqAvPirHkuhxIkaU\n"
"/4xwgT7jJGjiD9T6gZZ7AmA6uZj2oYFr+1N9MY4+0KkxnUt9IVFc1rBG0xCnFDpv\n"
"uz5XgkFGjCaMkehFOR4+aery3NbxBibaEZjEiAJfSuqCqM7PaCK6mipkL3R60a2d\n"
"qQLpYXsCgYEA26nG4WDuSdAc5FnVJL5VEfPdS46a5x/627Xgc55pYzXUdZGnP2F/\n"
"oYYitsAKuGrHbsakyWJJLQ+17yZPQaHCfl1WVHKMsB9TnSeGhIRSiPd/MJQIfvNu\n"
"dcHjbGkNCzcXQ4vECS43gfmj3MHS9rsUdmNG71MoSh5TX79dioWcNy8CgYEA2QcB\n"
"YDfr63MvtMaJd432tpnAfIXBnJC56/jY52qAUdn7VWJdGUMs+YxPNvyqTsj4pJMP\n"
"pTLlH3nRV9Q2YsrNK6fNeHsOtkaNGnW3XtNrEeWuCpL4GS+fdvRal4xysro2Bvo7\n"
"A2WR4MJ/Cw8tFTOkk+N9CwPcHbRMy8t4NqFICG8CgYEAp08YMUAAH26JIxCdPOBP\n"
"sV3aVxtmNtZv3vsX21h0EuHEUkw/ZBIiAWhGdoWtZKvH/UMF7nGTJORLgbzfLzFD\n"
"D7aN88JQEDG8IP4jAjo7FyHT2a9XDULjBoRIcaFOExXB/WuuRAPUuYXoXlOvGMiD\n"
"nGyfcdgX3uRcQphiagi8ZHcCgYAytnJZ23djU00ofuQMbb3iuVbDQjYVsbPgMgvt\n"
"N3O4rKkQMKX0iz/tKB4yiSP6uPdw7XRQc+4aRsrmLQ5wU1dSBin7JzYu3ZmHP06T\n"
"9+8jBXp/ugwDRp+Kmlq44vbCUMTjKIG1r3xA+vHY0bkFJUYl0JidhE9hGYqAbJEw\n"
"ostEPQKBgQClOd69NXXuiZbSHvgHZvuDpZeJu5CFyxaamwmb+n64NidYC66kAMDA\n"
"/qkjCaj+CbpEek3EXjKmXBqd5muioVLBRmh2qCCQ45aIgVyGXr6OW4Y8sXlIc4IV\n"
"xwUHzzg0isQjM/AGqXz3B4sjVQcmQZxE8oMxyAaaCbzJtBEMvSAPEQ==\n"
"-----END RSA PRIVATE KEY-----\n";

const char key_ed25519[] =
"-----BEGIN PRIVATE KEY-----\n"
"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
"-----END PRIVATE KEY-----\n";

const char key_rsa_short[] =
"-----BEGIN RSA PRIVATE KEY-----\n"
"MIIBPAIBAAJBAMk+XOmUKJuSEXcmNae+kR5KwQ3aTlWfETCYMuF4h9yT63TRlZE+\n"
"ZlhpF85JkOuSahn8E+aPGbcBZ3NSh+gVFykCAwEAAQJAbQALQTTPfdvy+89FVpMg\n"
"dQDWahNpRHUA0YpOXNN0+yJpa5HTDc1K3a4lNCwkleM3pBvxJaBZM980H9izH6Sh\n"
"AQIhAOrOzPJCEWm8Rc79fIWdC/9M3WNbQJ9XGpO8ksAYM0MJAiEA22gQ+uv+2Pnp\n"
"7eD3rOGkPeBI66fkD5CsM6Gn2gqLmyECIQC9248Nh2xLAYe0kXQhGVX9DSqpTryW\n"
"2jhMIprKJgc0+QIhALgtZYOdM3MkZvCe1oozZ9HhQpU/fDxsr4EwBF0OWR7BAiEA\n"
"zrMePPCEvva/VN2SC7xumPW2/YibOtLTkelbF+3ET2I=\n"
"-----END RSA PRIVATE KEY-----\n";

const char key_ec[] =
"-----BEGIN EC PRIVATE KEY-----\n"
"MHcCAQEEIMh0xVMXdM4XaXkbnizU7JnGa1wIIHYoh5tlJ6oWdLhooAoGCCqGSM49\n"
"AwEHoUQDQgAEkmN7QVbn9V+91J0Wqzp78f1XtgbXR2kgMOJrfbvjDL9ZZBvYGX9/\n"
"bibDN/QXz9OHMzJQ6dDK0p1AbwreaJY8fQ==\n"
"-----END EC PRIVATE KEY-----\n";

const char key_encrypted[] =
"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
"MIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQIjYaJD7lWXcYCAggA\n"
"MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAECBBDed0VD8yBxrI1E9PKwiUWHBIIE\n"
"0H1sRjr6smqmuwlqAhYE4GYX3uANYXANrRYnl42h/tRvad1DX8IxTu079krkK7UT\n"
"1dagkKJTA/win3C9x8LFvo/UCsThQC4oRdHVpXcL4sMDnf8kCllgxtj/BaPgEmXY\n"
"lxQTHcY1SP/IJROiGlPNP4JtCZk2kmi2nzJEzqVJKloVPO/2+g2BXywWVXH17Gop\n"
"aeLUO+O2Q5K9ic4YO04WV/wbB8Pra4hn/NH5adqJoJDwaa/030SNHl/Yus8CWyJq\n"
"RVd0mGK1RuA152oXRW5GIfR7PHnQQ7ccFHm04FGs4vaUxjuyIaMMdxVpZeWUFPDh\n"
"cFk/6QmZZVt146VTR6ss/C7Z2CeLFX2H/EYYH6tyvOL9tdwVrSiDEpe2Qi02A5ex\n"
"XbI9kJeSMShhTq0dbpHR0CHDe3YKMGI9WP54UneKYcLdai6e/dm2YVMnXlp9HTMk\n"
"ZLuknBNQ88bUaZX+bbtxNv22/nCZXacDkr/g9ubmpKhKUscDoWB5JFJILQsE8g1e\n"
"+trXF8kn/BGCZQD+YJOfmd2xSRVuclglKiLBMAk5D7p0i85cNsB7mty5hdCpT+u0\n"
"UaZm3Pr7ZAAyrK8Ax/h53hjyCJxEq5Qku5ah/VsMI2e1uaFRvePHi2mfdabRpB1j\n"
"AX5T7Jtff57f+WzvfmH47oxBjrf5m0fJ55U9bIC4EKVcuNIzJX0nNynYwYs7Cj6Y\n"
"jBsHX0uGY+CgMg9R9L7RHZsGlI02rtuzsu1pkRB/9f6vC2HyoSQwzY6VosT9ZbfW\n"
"kbs5btodtNI97ayqv5Ygldpw9zaUmcb2O2hhRA1cTfpgRdWcFcvB2vykE49l3+V3\n"
"GPFr7DCHGxWFXTCV6AivJH54YfodeJc0RfXggyG2DfCTKIUAUX9FpbUQj6pYLf9o\n"
"sfpuDTZIWxy3rRBMCtIeYW3mi6dWLnrNtM8QmAHFsYafkmZnCQtKeGtIVizdzFyh\n"
"v0SBDLkKkQAYF4R7mRFglh7Fbe3WLUkRBhdZnkw42xKxoQL8gOtoKYmLSp1xPN6s\n"
"nwB2wXDTNOL0C5fdnndMmvWCpJSuJtrxOAMLymRQPjdlkCVfrKyxfZscWp/rPptw\n"
"v2Tce/OxWDvKld1ZrrDFD4LdhrMgP32Q2EXG0begpNB4En1OW8f5gb9Et9AYC1eA\n"
"C1CgbKhn7lpyH+TeNA7RqNhTYMaP9yhNanRebhs2lczLTHbEDPtpqtfLBEGHLvgs\n"
"3hecjQh2AWepqsdRXQxEY31w0fRp5ydEh+yL6EeWmzDsy0uTUDjju1TI1f0qsqKX\n"
"JiGjOKtC92HoTyhMRL954k0AJD1WXBMguvFrYWiKyRYbBaVUFtOpphWeERkLBOdz\n"
"1kkEK4wSVkg+nBEsIU7O4QH0a/eDmTqydTTcR6A9dIqm24znzNjs5hMFd7C80P3m\n"
"oByG6h2+H+XXGdHrtEJkp6GCJyTlz/UmxaZneWnK4adi1p944z1zPKg27OTirI5y\n"
"uz4v9yLxNoTVKtrytPN2s1Oxy5zNMYKFL4PwdhuOmLc6xDS0xUoGdzZ37d6NjEjR\n"
"xE2GuPKjxCzhTSH9gW7FIHtKf26Wy+RYEw/Jg1s383q36YUJJFyQacdykrptqsC2\n"
"JnLhs5vV/2WZKmpDhAPyXesXMXsLEU3iUpnBJejhNdUM\n"
"-----END ENCRYPTED PRIVATE KEY-----\n";

const char key_public[] =
"-----BEGIN PUBLIC KEY-----\n"
"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAujjsZ7TBAZZhT4mdF4kG\n"
"plWvT//1RU9wXWai1ScOvv77Mrk04yZlIFY4A3ymWttOXvBU2IboEDJZjC+wPgtW\n"
"xQu8bNQ9TuJ3BU/ONx9/7+U/yHTCJM90+w0vMhgwEZpw7IWWr8Qc7hUzkHEIURvd\n"
"PKsoiK41i2axjOtWKgovaI3bW0NpS9+xbCwUQDyue/hk5Ovm3ejFyXBjFj+vTJ3y\n"
"VM252GgMhYHZpCUfhGwgv87XwyII0R/wNUWBxx70zZuIiYyUcVBwjeEGQ5D/BhW2\n"
"Ctw56kyVzxNWlWn0hHaIKe6b3N7JB/J8ajIs9jKaXtHYyhiuXNBB8zpb+WHK5K1l\n"
"YQIDAQAB\n"
"-----END PUBLIC KEY-----\n";
